"""From folders to chunks: names, rules, walking, reading, splitting. Nothing here knows SQL or the time.

names   file names are bytes; a table's path is text: a mapping that loses nothing
rules   which files of a source are wanted (gitignore syntax)
files   the words shared by walking and reading: FileStat, Skip
walk    what a source folder holds now, against what was known of it
read    one file's text and content hash, or the reason why not
split   a document's text into chunks
"""
