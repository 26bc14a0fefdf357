"""What clients ask of the tables, in the form in which they ask it."""

from typing import LiteralString

# a parcel's season, for a calendar view
SERIES: LiteralString = """
    SELECT extract(epoch FROM obstime), count, mean, std, min, p25, p50, p75, max, band
    FROM parcels_2021 p, sigs s, dias_catalogue d
    WHERE p.ogc_fid = s.pid AND s.obsid = d.id AND p.parcel_id = %(parcel)s
      AND band IN ('B02', 'B03', 'B04', 'B05', 'B08', 'B11') ORDER BY obstime, band"""
# all rows of a scene
SCENE: LiteralString = "COPY (SELECT * FROM sigs WHERE obsid = %(obsid)s) TO STDOUT (FORMAT binary)"
# parcels that are alike in one band for some weeks
PEERS: LiteralString = """
    SELECT p.parcel_id, avg(mean), count(*) FROM parcels_2021 p, sigs s, dias_catalogue d
    WHERE p.ogc_fid = s.pid AND s.obsid = d.id AND band = 'B08' AND mean BETWEEN 1400 AND 1500
      AND obstime BETWEEN %(start)s AND %(end)s GROUP BY p.parcel_id"""
# the marker pass over a batch of parcels
MARKERS: LiteralString = """
    SELECT DISTINCT ON (pid, obstime) pid, obstime,
        max(mean) FILTER (WHERE band = 'B02') AS b02, max(mean) FILTER (WHERE band = 'B04') AS b04,
        max(mean) FILTER (WHERE band = 'B08') AS b08, max(mean) FILTER (WHERE band = 'B11') AS b11,
        max(count)::integer, min(count)::integer
    FROM sigs s JOIN dias_catalogue d ON d.id = s.obsid
    WHERE pid = ANY(%(pids)s) AND card = 's2' GROUP BY pid, obstime ORDER BY pid, obstime"""
# averages of some weeks, for machine learning
AVERAGES: LiteralString = """
    SELECT pid, band, avg(mean), count(mean) FROM sigs
    WHERE obsid IN (SELECT id FROM dias_catalogue WHERE status = 'extracted' AND card = 's2'
        AND obstime BETWEEN %(start)s AND %(end)s)
    GROUP BY pid, band"""
# one band of everything
BAND: LiteralString = "SELECT count(*), avg(mean) FROM sigs WHERE band = %(band)s"
