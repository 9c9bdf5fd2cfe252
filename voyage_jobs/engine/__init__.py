"""Heavy work done elsewhere: by child processes of this one, or by the workers of an existing engine.

A task is a function that is named in a string, `module:function`. It gets a request and a file, and gives what JSON can
say. It knows no state, no clock and no client, which a contract holds, and has no effect but its answer: one that is
lost, repeated or killed does no harm.

engine    which one is in use
children  starts and asks child processes, which can be killed
child     is that process
on_ray    has tasks carried out by a Ray cluster
in_order  takes what was begun ahead of its turn
waiting   how all of them give way
"""
