"""Training for longfold: data, rewards, reinforcement learning and the demo policy. Knows the agent, never the
server."""
