"""Our own store: blobs in a folder or in Azure, the tree they form, the spool, and the small records kept among them."""
