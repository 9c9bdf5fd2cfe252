"""The page, its data and the metrics over HTTP: read-only, beside the work or without it.

    guard        who may ask: host names, the token, the cookie that a login leaves; pure
    attempts     wrong tokens by client: slowed, then locked out
    connections  how many may stand, and for how long without a request
    views        what can be asked, with the dear answers kept for a moment
    app          paths to views, and the headers that every answer carries
    door         the thread that listens; whatever happens to it, the work goes on

Starlette and uvicorn are loaded when somebody listens.
"""
