# apparmor.bin is this, as the kernel takes it: apparmor_parser --skip-kernel-load --skip-cache --ofile apparmor.bin apparmor.profile
profile podrt-test {
  file,
  deny /data/secret r,
}
