"""Settings of the whole suite."""

import torch

torch.set_num_threads(1)  # the suite runs in parallel processes; threads of their own would fight over the cores
