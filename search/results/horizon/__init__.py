"""Do short runs rank configurations as long ones do, and who gains from longer ones?"""
