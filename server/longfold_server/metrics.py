"""Prometheus metrics of one application. Base units, no ids in labels; each application has its own registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from longfold_server.codes import Code

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """What is counted; the names are part of the dashboards and alerts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Gauge("longfold_jobs", "Jobs in the store that have not ended.", ["status"], registry=self.registry)
        self.queue_age = Gauge(
            "longfold_queue_oldest_seconds", "Age of the job that waits longest.", registry=self.registry
        )
        self.running = Gauge("longfold_worker_jobs", "Jobs that this process is working on.", registry=self.registry)
        self.created = Counter("longfold_jobs_created_total", "Jobs created by this process.", registry=self.registry)
        self.finished = Counter(
            "longfold_jobs_finished_total", "Jobs ended by this process.", ["status"], registry=self.registry
        )
        self.failures = Counter(
            "longfold_job_failures_total", "Ends of jobs as failed, by code.", ["code"], registry=self.registry
        )
        self.takeovers = Counter(
            "longfold_job_takeovers_total", "Jobs taken over from a lost worker.", registry=self.registry
        )
        self.releases = Counter("longfold_job_releases_total", "Jobs given back.", ["reason"], registry=self.registry)
        self.fenced = Counter(
            "longfold_commits_fenced_total",
            "Commits refused because another worker owns the job.",
            registry=self.registry,
        )
        self.steps = Counter("longfold_steps_total", "Committed reading steps.", ["update"], registry=self.registry)
        self.step_seconds = Histogram(
            "longfold_step_seconds",
            "Seconds of a reading step: in the engine, in the commit, and our own rest.",
            ["part"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "longfold_tokens_total", "Tokens as the engine reports them.", ["kind"], registry=self.registry
        )
        self.engine_calls = Counter(
            "longfold_engine_calls_total", "Finished engine calls.", ["kind"], registry=self.registry
        )
        self.engine_errors = Counter(
            "longfold_engine_errors_total", "Engine errors by class.", ["error"], registry=self.registry
        )
        self.engine_down = Gauge(
            "longfold_engine_down",
            "1 while this process leaves an engine endpoint alone because it failed.",
            ["endpoint"],
            registry=self.registry,
        )
        self.requests = Counter(
            "longfold_http_requests_total", "HTTP requests.", ["method", "route", "status"], registry=self.registry
        )
        self.webhooks = Counter(
            "longfold_webhooks_total", "Webhook deliveries tried, by outcome.", ["outcome"], registry=self.registry
        )
        self.webhooks_owed = Gauge(
            "longfold_webhooks_owed", "Ends of jobs of which somebody has still to be told.", registry=self.registry
        )
        self.streams = Gauge("longfold_event_streams", "Open event streams.", registry=self.registry)
        self.documents = Counter("longfold_documents_total", "Documents ingested.", ["source"], registry=self.registry)
        self.removed = Counter(
            "longfold_removed_total", "What was removed because nobody used it.", ["kind"], registry=self.registry
        )
        # A series that begins with its first increment has no rate there: what can be foreseen begins at 0.
        for series, values in (
            (self.finished, ("completed", "failed", "cancelled")),
            (self.failures, tuple(Code)),
            (self.releases, ("stopping", "failure")),
            (self.steps, ("rewrite", "keep", "invalid")),
            (self.step_seconds, ("engine", "commit", "own")),
            (self.tokens, ("prompt", "completion", "cached")),
            (self.engine_calls, ("whole", "streamed")),
            (self.removed, ("text", "upload")),
            (self.webhooks, ("sent", "failed", "gone", "blocked", "given_up")),
        ):
            for value in values:
                series.labels(value)

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)
