-- All statistics, whatever the scenes' ids: table, rows, checksum.
SELECT 'sigs', count(*), md5(string_agg(row::text, E'\n' ORDER BY row))
FROM (SELECT (reference, pid, band, count, mean, std, min, max, p25, p50, p75) AS row
      FROM sigs JOIN dias_catalogue ON id = obsid) AS rows
UNION ALL
SELECT 'hists', count(*), md5(string_agg(row::text, E'\n' ORDER BY row))
FROM (SELECT (reference, pid, hist::text) AS row
      FROM hists JOIN dias_catalogue ON id = obsid) AS rows
