"""The other documents of the demonstration: a catalogue, and a manual as PDF."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
[[sources]]
name = "shop"
path = "shop"
include = ["*.csv", "*.pdf"]

[sources.records]
id = "sku"
text = "{name}\\n{description}"
title = "{name}"
url = "https://shop.example/p/{sku}"
columns = { price = "float" }
"""
_CATALOGUE = """\
sku,name,price,description
L-1,Desk lamp,39.90,A lamp with a long arm to read by at night.
L-2,Night light,9.50,Something to read by at night that sleeps after eight hours.
K-9,Whistling kettle,24.00,Boils a litre in three minutes and says so.
"""
QUESTION, FILTER, ANSWER = (
    "something to read by at night",
    "json_get_float(front_matter, 'price') < 20",
    "catalog.csv#L-2",
)
_PAGES = (
    ("The whistling kettle", "To descale the kettle, boil vinegar and water in it and let it rest."),
    ("Warranty", "It whistles for two years, or is exchanged."),
)
PDF_QUESTION, PDF_PAGE = "how to descale the kettle", 1


def stage_shop(target: Path, *, with_pdf: bool) -> None:
    """Write the catalogue, and the manual if it can be read."""
    target.mkdir()
    (target / "catalog.csv").write_text(_CATALOGUE, encoding="utf-8")
    if with_pdf:
        (target / "kettle.pdf").write_bytes(_pdf())


def _pdf() -> bytes:
    """The pages, in a font that every reader has. What has no table of its objects is read all the same, by looking."""
    kids = " ".join(f"{10 + 2 * at} 0 R" for at in range(len(_PAGES)))
    objects = {
        1: "<</Type/Catalog/Pages 2 0 R>>",
        2: f"<</Type/Pages/Count {len(_PAGES)}/Kids[{kids}]>>",
        3: "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    for at, lines in enumerate(_PAGES):
        page, drawn = (
            10 + 2 * at,
            "BT /F1 12 Tf 72 740 Td 14 TL " + " ".join(f"({line}) '" for line in lines) + " ET",
        )
        objects[page] = (
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {page + 1} 0 R>>"
        )
        objects[page + 1] = f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream"
    body = "".join(f"{number} 0 obj\n{said}\nendobj\n" for number, said in objects.items())
    return f"%PDF-1.4\n{body}trailer\n<</Root 1 0 R>>\n%%EOF\n".encode()
