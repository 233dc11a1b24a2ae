"""One machine: a torch model that samples, scores and learns in this process, on a CPU or one GPU."""
