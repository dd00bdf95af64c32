"""The index: precedence between sources, merge rules, policy, and why a project has the page it has."""
