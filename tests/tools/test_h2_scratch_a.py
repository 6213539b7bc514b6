import time, os
def test_a(database_url, cluster):
    open(f"/tmp/h5/xd/{os.getpid()}","w").write(f"{cluster.number} {cluster.folder}\n")
    time.sleep(20)
