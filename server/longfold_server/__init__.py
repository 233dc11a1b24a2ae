"""The longfold service: an API and workers over jobs in Redis; `longfold_server.app.create_app` makes the app."""

__version__ = "0.1.0"
