"""`GET /search?q=...&k=5` over HTTP:  python search_service.py voyage-jobs.toml"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import voyage_jobs


def service(config: str) -> Starlette:
    """The service of one project. Searches see what is published meanwhile."""
    project = voyage_jobs.open(config)

    def search(request: Request) -> JSONResponse:
        question = request.query_params.get("q", "")
        if not question:
            return JSONResponse({"error": "q is missing"}, status_code=400)
        hits = project.search(question, k=int(request.query_params.get("k", "5")))
        return JSONResponse([{"score": hit.score, "path": hit.path, "text": hit.text} for hit in hits])

    return Starlette(routes=[Route("/search", search)])


if __name__ == "__main__":
    uvicorn.run(service(sys.argv[1]), host="127.0.0.1", port=8000)
