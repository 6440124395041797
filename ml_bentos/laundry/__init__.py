"""The photo judge of laundry work: is the garment of a photo hung, sorted, folded as the task asks?

A network turns a photo into a feature vector: that of ImageNet, or one whose top was taught anew (`tuning`). For each kind of task
a small calibrated head (`teaching`) says done or not done, and says "unclear" where it is not sure or where the photo shows
another kind of thing. None is shipped, since the photos they come from are the gym chain's own.
"""
