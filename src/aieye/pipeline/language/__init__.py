"""The pipeline language: text into a tree, checked, and back into text. Pure.

pipeline = parse(text)                       # or InvalidPipeline
analysis = analyse(pipeline, catalogue)      # arguments, bindings, diagnostics
format_pipeline(pipeline), write_tree(pipeline)
"""
