"""Engines: what gives completions. Each lives in its own module, so that importing one never imports another's
libraries.

`longfold_agent.engines.vllm.VLLMEngine` speaks to OpenAI-compatible servers;
`longfold_agent.engines.scripted.ScriptedEngine` follows a script, for tests.
"""
