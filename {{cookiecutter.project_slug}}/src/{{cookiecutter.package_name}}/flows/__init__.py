"""Your flows: every flow that a module in this folder defines is found, run, resumed and watched by its name."""
