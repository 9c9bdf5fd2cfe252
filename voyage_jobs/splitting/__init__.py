"""From texts to chunks, pure: the same text, form and options give the same chunks.

A room of its own, since what reads a file and what cuts a text change apart: a page of HTML becomes Markdown and is
cut as Markdown is, and reading may happen in another process, while cutting goes on here.

forms         what a text may be written in, and how each is taken apart
fingerprints  which reader and which splitter made a version, and whether they would make the same today
split         a text into chunks: sections, then pieces
blocks        where a section may be cut, and what of it is kept whole
cuts          at which of these places: those that the text chooses, so that an edit moves few
merging       small sections into one piece
windows       chunks that a contextualized model sees together
requests      what is asked for: a chunk each, or a window of them, and the keys of the answers
task          reading and cutting several files at once, as another process does it
header        what goes with a chunk to the provider: its title and section
"""
