"""The live twin: a web page and an HTTP interface that let one person's twin perform, with a connectome that a viewer changes by hand."""
