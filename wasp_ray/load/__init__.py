"""What users write and how it is found, described and checked. Inherited by every worker: nothing heavy is imported
here.
"""
