"""The words of the product: values, errors, names, versions, URLs, and the interfaces that every room is built on. Pure."""
