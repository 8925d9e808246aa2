"""`make prove`: kill a flow again and again, resume it, and compare what it leaves with an undisturbed run.

`victim` is what runs in the processes that are killed, `trials` starts and kills them, `comparison` finds what is lost,
doubled or different, and `__main__` is the command.
"""
