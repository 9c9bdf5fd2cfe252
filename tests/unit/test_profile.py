"""Fingerprints and keys, word for word: every vector that anybody has paid for is found again by these."""

from __future__ import annotations

from dataclasses import field, make_dataclass, replace

import pytest

from voyage_jobs.core.profile import (
    ALWAYS,
    CONTEXTUALIZED,
    EMBEDDINGS,
    KeyMaker,
    Profile,
    chunk_id,
    document_key,
    embedding_key,
)

PLAIN = Profile(EMBEDDINGS, "voyage-4", 1024, "float", "document")
SMALL = Profile(EMBEDDINGS, "voyage-4-lite", 512, "ubinary", None)
CONTEXT = Profile(CONTEXTUALIZED, "voyage-context-3", 1024, "float", "document")
UNICODE = "Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e \U0001f680 e\u0301"

WRITTEN = {
    PLAIN: '{"dimension":1024,"dtype":"float","endpoint":"/v1/embeddings","input_type":"document","model":"voyage-4"}',
    SMALL: '{"dimension":512,"dtype":"ubinary","endpoint":"/v1/embeddings","input_type":null,"model":"voyage-4-lite"}',
    CONTEXT: '{"dimension":1024,"dtype":"float","endpoint":"/v1/contextualizedembeddings","input_type":"document"'
    ',"model":"voyage-context-3"}',
}
FINGERPRINTS = {
    PLAIN: "c225bb277611e2146e0e18001d3080c4ea90852a",
    SMALL: "cfaa6df0cb8faedee62de61221ab468d23525b28",
    CONTEXT: "3577c83becfc3182d887a65503297163f370e62a",
}
KEYS = [
    (PLAIN, ["The quick brown fox."], "86e28ad3cfcc781b07004821a65c170c75a354d6"),
    (PLAIN, [UNICODE], "92e9a644ac5d45de92f7059410ee5e5f47c4e895"),
    (PLAIN, [""], "40f80b44179f6324718658f586629366290c60e1"),
    (PLAIN, [" "], "74232afcd42a1be60f538c900537a70b7c1ccd71"),
    (PLAIN, ["a\x00b"], "dac315750da63eb5bba5fe90a5da2dc05767fedd"),
    (SMALL, ["The quick brown fox."], "d6a03453d89a3be2bae98eed911ff38761e5eaab"),
    (SMALL, [UNICODE], "52b792b8f2483fcfcd1e9e6e1569f6a1d569e3c6"),
    (SMALL, [" "], "082547b0e46c0a7b329d186379b578b7da923f19"),
    (CONTEXT, ["The quick brown fox."], "63a2e2e669d63b6231bdaa7ced485a64ed7a95c4"),
    (CONTEXT, [UNICODE], "3fe95712a33710124bbf544b2cd9c0c457766686"),
    (CONTEXT, ["one", "two", "three"], "0eea988f9ec8092eccc122efde41f49e480bff0a"),
    (CONTEXT, ["onetwo", "three"], "95abcd38c0abdd3ce999744a5ad48c349badedce"),
]


@pytest.mark.parametrize("profile", FINGERPRINTS)
def test_a_profile_has_the_fingerprint_that_it_always_had(profile: Profile) -> None:
    assert profile.to_json() == WRITTEN[profile]
    assert profile.fingerprint == FINGERPRINTS[profile]
    assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(("profile", "texts", "key"), KEYS)
def test_texts_have_the_key_that_they_always_had(profile: Profile, texts: list[str], key: str) -> None:
    assert KeyMaker(profile).key(texts).hex() == key


def test_the_keys_of_documents_chunks_and_vectors_are_what_they_always_were() -> None:
    document = document_key("docs", "guides/\u00fcber.md")

    assert document.hex() == "60c353a230809800"
    assert chunk_id(document, 3, UNICODE) == "60c353a230809800-3-e407029742669d69"
    assert embedding_key(bytes.fromhex(KEYS[-2][2]), 2, contextualized=True) == f"{KEYS[-2][2]}/2"
    assert embedding_key(bytes.fromhex(KEYS[0][2]), 0, contextualized=False) == KEYS[0][2]


Later = make_dataclass("Later", [("context", str, field(default="none"))], bases=(Profile,), frozen=True)
"""A profile as a later release may have it."""


@pytest.mark.parametrize("profile", FINGERPRINTS)
def test_a_field_that_comes_later_changes_no_key_until_it_is_used(profile: Profile) -> None:
    same = Later(**vars(profile))
    other = Later(**vars(profile), context="headings")

    assert same.to_json() == WRITTEN[profile]
    assert same.fingerprint == FINGERPRINTS[profile]
    assert other.fingerprint != FINGERPRINTS[profile]
    assert Later.from_json(other.to_json()) == other
    assert Later.from_json(WRITTEN[profile]) == same


@pytest.mark.parametrize("profile", FINGERPRINTS)
def test_another_provider_makes_other_vectors(profile: Profile) -> None:
    other = replace(profile, vendor="other")

    assert '"vendor":"other"' in other.to_json()
    assert other.fingerprint != FINGERPRINTS[profile]
    assert Profile.from_json(other.to_json()) == other
    assert Profile.from_json(WRITTEN[profile]).vendor == "voyage"


def test_the_fields_that_are_in_every_fingerprint_are_these() -> None:
    assert ALWAYS == ("endpoint", "model", "dimension", "dtype", "input_type")
