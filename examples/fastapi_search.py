"""The same with FastAPI:  python fastapi_search.py voyage-jobs.toml, then open http://127.0.0.1:8000/docs"""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

import voyage_jobs


class Answer(BaseModel):
    """One hit."""

    score: float
    path: str
    text: str


def service(config: str) -> FastAPI:
    """The service of one project. FastAPI runs a plain function in a thread, so a search keeps no other waiting."""
    project, app = voyage_jobs.open(config), FastAPI(title="Search")

    @app.get("/search")
    def search(q: str, k: int = 5) -> list[Answer]:
        return [Answer(score=hit.score, path=hit.path, text=hit.text) for hit in project.search(q, k=k)]

    return app


if __name__ == "__main__":
    uvicorn.run(service(sys.argv[1]), host="127.0.0.1", port=8000)
