"""Where documents come from: names, rules, walking, opening. Nothing here knows texts, SQL or the time.

names   file names are bytes; a table's path is text: a mapping that loses nothing
rules   which files of a source are wanted (gitignore syntax)
files   the words shared by walking and opening: FileStat, Skip
source  the port: what every source of documents can do
folder  a folder as a source: discover, revision, open, what to watch
walk    what a folder holds now, against what was known of it
"""
