"""Assets of the learning side: how corrections become a model, faces a better one, and reviews an index.

A folder for each subject. An asset's value is a small JSON document that names what was made (a data set, a version, a key
in the object store); the things themselves lie in the object store or the model store, so that any machine can go on.
"""
