"""Who lists what: one class per kind of source, and the wrappers and the one combinator that make an index of them."""
