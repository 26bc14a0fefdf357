"""The archive of products: a mounted folder or a bucket of S3. Readers see a folder either way.

Imports point one way, from top to bottom:

- `open_archive`: the archive that the configuration names.
- `file_check`: the files of extracted scenes, compared with the archive as it is now.
- `checksums`: the files of a product, compared with its manifest before their pixels are used.
- `s3`: an archive in a bucket of S3.
- `mount`, `mount_probe`: an archive that something else has mounted; whether a mount answers.
- `disk_space`, `scratch`: space on a disk that workers share; folders that end with their process.
- `account_limits`, `time_limits`: what an account may ask at once; work that is not waited for too long.
- `interface`: what the archive is to everybody else.
"""
