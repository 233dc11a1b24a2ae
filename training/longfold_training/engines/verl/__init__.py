"""Clusters: the recipe on verl 0.9.1 (Ray, FSDP, vLLM) by plug-in, with nothing of verl changed on disk.

`trainer` and `loop` import verl and are loaded into its processes by VERL_USE_EXTERNAL_MODULES; everything else here
runs without it.
"""
