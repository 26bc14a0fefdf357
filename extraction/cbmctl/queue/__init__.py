"""The queue of the extraction in PostgreSQL: tasks, the status of scenes, and who writes both.

Imports point one way, from top to bottom:

- `repair`, `planning`: scenes that were left half done; what the configuration asks for.
- `archived_scenes`: scenes whose rows are in an archive of the season.
- `parcel_changes`: parcels that are new or gone while there are statistics.
- `cloudy_rows`: delete rows of fully cloudy parcels.
- `progress`, `delta_cost`: how far the extraction is; what new parcels cost.
- `tasks`, `vanished_workers`: claim and close a task; whose fault it is that a worker vanished.
- `task_outcome`: what is recorded of a task that is closed.
- `scene_changes`: what a change of tasks, versions, archive or parcels means for scenes and their rows.
- `overlap`, `acquisitions`: tiles of one datatake; versions of one acquisition.
- `scene_status`, `states`: a scene's status; what happens to a task. Each is the only writer of its column.
- `extracted_rows`: delete the rows of scenes.
- `find_scenes`, `statements`: scenes by name; the conditions that the statements share.
- `parcel_sets`: versions of the parcels.
- `locks`: every lock, and the order in which locks are taken.
"""
