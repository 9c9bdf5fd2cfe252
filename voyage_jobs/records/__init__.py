"""Records: files that hold many documents, a row each (catalogues, tickets, exports).

`formats` reads rows out of a file, one after the other and in bounded memory; `recipe` makes a record of each: its id,
its text and its columns, as the configuration says. What is wrong with a row is a `Fault`, and takes no other along.
"""
