//! Disks that are full or may not be written to.

use std::path::Path;
use std::process::Command;

use super::{Place, undisturbed};

/// A small file system in memory, mounted while this lives.
struct Tmpfs {
    path: tempfile::TempDir,
}

impl Tmpfs {
    /// `None`, said aloud, where we may not mount.
    fn mount(kilobytes: u32) -> Option<Self> {
        let path = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]).arg(path.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path }),
            Ok(output) => {
                println!("SKIP: no small disk: mount says {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("SKIP: no small disk: mount cannot be run: {error}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path.path()).status();
        assert!(done.unwrap().success());
    }

    fn place(&self, days: u32) -> Place {
        let mut place = Place::local(days);
        place.target = self.path.path().join("out.zarr").display().to_string();
        place
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.path.path()).status());
    }
}

#[test]
fn disk_full_is_exit_8_and_the_run_goes_on_when_there_is_room() {
    let Some(disk) = Tmpfs::mount(320) else { return };
    let place = disk.place(40);
    for _ in 0..2 {
        place.fails(&[], 8, &["error[disk-too-small]", "free some space and run again"]);
        assert!(!place.objects().contains_key("zarr.json"));
        assert!(place.objects().keys().all(|key| !key.contains("unfinished")), "half an object stays: {:?}", place.objects().keys());
    }
    let kept = place.objects().len();
    assert!(kept > 2, "nothing was kept");
    disk.remount("size=4096k");
    let report = place.succeeds(&[]);
    assert!(report["tasks_run"].as_u64() < report["tasks"].as_u64() || report["tasks"] == 2, "all was done again: {report}");
    assert_eq!(place.objects(), undisturbed(40));
}

#[test]
fn disk_full_from_the_first_byte_is_exit_8() {
    let Some(disk) = Tmpfs::mount(64) else { return };
    let place = disk.place(2);
    std::fs::write(disk.path.path().join("ballast"), vec![0_u8; 64 << 10]).unwrap();
    place.fails(&[], 8, &["error[disk-too-small]"]);
    std::fs::remove_file(disk.path.path().join("ballast")).unwrap();
    disk.remount("size=4096k");
    place.succeeds(&[]);
}

#[test]
fn read_only_folders_are_told_from_full_ones() {
    let Some(disk) = Tmpfs::mount(4096) else { return };
    let place = disk.place(2);
    disk.remount("ro");
    place.fails(&[], 3, &[&place.target, "ead-only file system"]);
    disk.remount("rw");
    place.succeeds(&[]);
    let before = place.objects();
    disk.remount("ro");
    place.fails(&[], 3, &["ead-only file system"]);
    assert_eq!(place.objects(), before);
}

#[test]
fn a_folder_that_is_not_ours_to_write_is_told() {
    // The superuser may write everywhere; for him the test above is the one that counts.
    let place = Place::local(1);
    let closed = place.path.join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    if std::fs::write(closed.join("try"), b"").is_ok() {
        println!("SKIP: this user may write in closed folders");
        return;
    }
    let mut place = place;
    place.target = closed.join("out.zarr").display().to_string();
    place.fails(&[], 3, &["closed", "ermission denied"]);
    assert!(Path::new(&closed).read_dir().unwrap().next().is_none());
}
