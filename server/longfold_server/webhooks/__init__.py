"""Webhooks by Standard Webhooks 1.0: what is sent when a job ends, how it is signed, where it may go, and when it is
sent again. Knows no engine and no documents."""
