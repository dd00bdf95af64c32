"""Wheelgate: one authenticating Simple API index in front of public PyPI, private feeds and packages in storage.

The layers, from the outside in (imports point down only; ``tests/test_layers.py`` enforces it)::

    cli, wiring                                      commands; the object graph and its lifetimes
    web                                              HTTP in
    delivery, spool, uploads                         how bytes travel, in and out
    sources                                          what is listed, by whom, under which rules
    upstream, storage                                HTTP out; our own store
    simple_api, singleflight, metrics, ...           pure or process-wide building blocks
    model, names, errors, protocols, config          the words of the product
"""
