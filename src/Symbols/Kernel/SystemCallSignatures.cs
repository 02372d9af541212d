namespace KTrace.Symbols.Kernel;

/// <summary>Arguments of the system calls that a boot makes. One letter each; see <see cref="SystemCalls.Format"/>.</summary>
internal static class SystemCallSignatures
{
    /// <summary>
    /// "name letters": d file descriptor, a directory descriptor (AT_FDCWD), i signed, u unsigned, z size, p pointer, s string, x flags, m mode (octal),
    /// o open flags, r ioctl request, g signal. A lone "-" means no arguments.
    /// </summary>
    public const string Table = """
        read dpz  write dpz  open som  close d  stat sp  fstat dp  lstat sp  poll pui  lseek dii  mmap pzxxdi  mmap2 pzxxdu  mprotect pzx  munmap pz  brk p
        rt_sigaction gppz  rt_sigprocmask ippz  rt_sigreturn -  ioctl drp  pread64 dpzi  pwrite64 dpzi  readv dpu  writev dpu  access sx  pipe p
        select ipppp  sched_yield -  mremap pzzxp  msync pzx  mincore pzp  madvise pzi  dup d  dup2 dd  dup3 ddx  pause -  nanosleep pp  getitimer ip
        alarm u  setitimer ipp  getpid -  sendfile ddpz  socket iii  connect dpu  accept dpp  accept4 dppx  sendto dpzxpu  recvfrom dpzxpp
        sendmsg dpx  recvmsg dpx  sendmmsg dpux  recvmmsg dpuxp  shutdown di  bind dpu  listen di  getsockname dpp  getpeername dpp  socketpair iiip
        setsockopt diipu  getsockopt diipp  clone xpppp  clone3 pz  fork -  vfork -  execve spp  execveat asppx  exit i  exit_group i  wait4 ipxp
        waitid iipxp  kill ig  tkill ig  tgkill iig  uname p  fcntl dip  fcntl64 dip  flock di  fsync d  fdatasync d  truncate si  ftruncate di
        getdents dpz  getdents64 dpz  getcwd pz  chdir s  fchdir d  rename ss  renameat asas  renameat2 asasx  mkdir sm  mkdirat asm  rmdir s  creat sm
        link ss  linkat asasx  unlink s  unlinkat asx  symlink ss  symlinkat sas  readlink spz  readlinkat aspz  chmod sm  fchmod dm  fchmodat asm
        chown sii  fchown dii  lchown sii  fchownat asiix  umask m  gettimeofday pp  getrlimit ip  setrlimit ip  prlimit64 iipp  getrusage ip
        sysinfo p  times p  ptrace iipp  getuid -  syslog ipi  getgid -  setuid i  setgid i  geteuid -  getegid -  setpgid ii  getppid -  getpgrp -
        setsid -  getpgid i  getsid i  gettid -  mknod smx  mknodat asmx  statfs sp  fstatfs dp  prctl ipppp  arch_prctl xp  chroot s  sync -
        syncfs d  mount sssxp  umount2 sx  umount s  pivot_root ss  swapon sx  swapoff s  reboot xxxp  sethostname pz  setdomainname pz
        init_module pzs  finit_module dsx  delete_module sx  openat asom  openat2 aspz  newfstatat aspx  fstatat64 aspx  statx asxxp  faccessat asx
        faccessat2 asxx  utimensat aspx  futex pixppx  set_tid_address p  set_robust_list pz  get_robust_list ipp  rseq pxxx  getrandom pzx
        memfd_create sx  epoll_create i  epoll_create1 x  epoll_ctl didp  epoll_wait dpii  epoll_pwait dpiipz  eventfd u  eventfd2 ux  timerfd_create ix
        timerfd_settime dxpp  timerfd_gettime dp  signalfd dpz  signalfd4 dpzx  inotify_init -  inotify_init1 x  inotify_add_watch dsx  inotify_rm_watch di
        pipe2 px  ppoll pupp  pselect6 ipppp  clock_gettime ip  clock_settime ip  clock_getres ip  clock_nanosleep ixpp  sched_getaffinity izp
        sched_setaffinity izp  sched_setscheduler iip  capget pp  capset pp  setresuid iii  setresgid iii  setgroups zp  getgroups zp
        kexec_load pupx  kexec_file_load ddzsx  bpf ipu  perf_event_open piidx  unshare x  setns dx  fallocate dxii  fsopen sx  fsmount dxx  fsconfig disps
        move_mount asasx  close_range uux  pidfd_open ix  socketcall ip  _llseek duupu  stat64 sp  lstat64 sp  fstat64 dp  time p  waitpid ipx  iopl u  ioperm uui
        """;
}
