"""The ensemble: several detectors of minutes on one scale, set to one alert in a number of hours."""
