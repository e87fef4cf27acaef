"""(docstring to come with the package)"""
