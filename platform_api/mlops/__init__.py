"""The mlops domain: photos of work are judged, and the models that judge are kept, taught, deployed and rolled back.

A person has the last word on each verdict; what they say is counted here, since it is what the next model learns from. No
photo, helper or member is kept in this domain's database.
"""
