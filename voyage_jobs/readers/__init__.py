"""From the bytes of a file to its text. Nothing here knows folders, SQL or the time.

reader    the words: what a reader is, and what it gives
text      the readers of text files: Markdown, reStructuredText, anything else
html      pages of HTML
notebook  Jupyter notebooks
pdf       PDF
office    documents and slides of Office
sheets    spreadsheets
code      source code
mail      mails
epub, opendocument, rtf: books and documents; slides those of opendocument
registry  which reader takes which file: ours, those of installed packages, those that a program registers
reading   calling one with care: whatever the bytes and whoever wrote the reader, a text or a reason
isolation calling one in a child process, for formats whose parsers can hang or crash; task is done there
"""
