"""The photo judge of laundry work: is the garment of a photo hung, sorted, folded as the task asks?

A fixed network turns a photo into a feature vector; for each kind of task a small calibrated head says done or not done, and
says "unclear" where it is not sure or where the photo shows another kind of thing. Heads are learnt from labelled photos
(`train`); none is shipped, since the photos they come from are the gym chain's own.
"""
