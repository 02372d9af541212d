// Builds the initramfs that a scenario describes. Everything in it is a function of the description and of the files named in it:
// the same input gives the same bytes (with the same version of the framework's zlib, which decides the compressed form).
using System.Collections.Immutable;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using KTrace.Boot.Kernels;

namespace KTrace.Boot.Images;

/// <summary>A built initramfs.</summary>
/// <param name="Path">The file.</param>
/// <param name="Sha256">Of the file, in lower-case hexadecimal.</param>
/// <param name="Modules">The modules in it, in the order in which /init loads them.</param>
/// <param name="Size">Bytes of the file.</param>
public sealed record BuiltInitramfs(string Path, string Sha256, ImmutableArray<string> Modules, long Size);

/// <summary>Builds initramfs files.</summary>
public static class Initramfs
{
    private const int AddedFileLimit = 1 << 30;

    // Those of busybox's applets that a person at a boot's console types. A link is made if the busybox at hand has the applet.
    private static readonly string[] Applets =
    [
        "[", "arp", "ash", "awk", "basename", "blkid", "cat", "chmod", "chown", "chroot", "clear", "cp", "cttyhack", "cut",
        "date", "dd", "df", "dhcprelay", "diff",
        "dirname", "dmesg", "du", "echo", "ed", "egrep", "env", "expr", "false", "fdisk", "fgrep", "find", "free", "getty",
        "grep", "gunzip", "gzip", "halt", "head",
        "hexdump", "hostname", "hwclock", "id", "ifconfig", "init", "insmod", "ip", "ipcalc", "kill", "killall", "less", "ln",
        "login", "losetup", "ls", "lsmod",
        "lspci", "md5sum", "mdev", "mkdir", "mkfifo", "mknod", "mktemp", "modinfo", "modprobe", "more", "mount", "mv", "nc",
        "netstat", "nproc", "nslookup", "od",
        "passwd", "pgrep", "ping", "pivot_root", "poweroff", "printf", "ps", "pwd", "readlink", "realpath", "reboot", "reset",
        "rev", "rm", "rmdir", "rmmod",
        "route", "sed", "seq", "setsid", "sh", "sha256sum", "sleep", "sort", "stat", "strings", "stty", "swapoff", "swapon",
        "switch_root", "sync", "sysctl", "tail",
        "tar", "tee", "telnet", "test", "time", "timeout", "top", "touch", "tr", "traceroute", "true", "tty", "udhcpc", "umount",
        "uname", "uniq", "uptime", "usleep",
        "vi", "watch", "wc", "wget", "which", "xargs", "xxd", "yes", "zcat",
    ];

    /// <summary>Builds the archive and writes it, gzip-compressed, to <paramref name="output"/> (through a temporary file beside
    /// it).</summary>
    /// <param name="kernel">Whose modules to take; may be null if the description names none.</param>
    /// <exception cref="BootException">busybox is missing or not static, a module or file is missing, the output cannot be
    /// written.</exception>
    public static async Task<BuiltInitramfs> BuildAsync(
        InitramfsDescription description, KernelFiles? kernel, string output, IBootProgress? progress = null,
            CancellationToken cancellationToken = default)
    {
        progress?.Report(new("initramfs", "collecting files"));
        var (archive, modules) = await ComposeAsync(description, kernel, cancellationToken).ConfigureAwait(false);
        return await WriteAsync(archive, output, modules, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Writes an archive, gzip-compressed, through a temporary file beside the output, so that a reader sees the old
    /// file or the new one.</summary>
    /// <exception cref="BootException">The output cannot be written.</exception>
    public static async Task<BuiltInitramfs> WriteAsync(CpioArchive archive, string output,
        ImmutableArray<string> modules = default, CancellationToken cancellationToken = default)
    {
        var target = Path.GetFullPath(output);
        var temporary = $"{target}.{Environment.ProcessId}.part";
        try
        {
            if (Path.GetDirectoryName(target) is { } folder)
            {
                Directory.CreateDirectory(folder);
            }

            await Task.Run(
                () =>
                {
                    using var file = new FileStream(temporary, FileMode.Create, FileAccess.Write);
                    using (var gzip = new GZipStream(file, CompressionLevel.Fastest, leaveOpen: true))
                    using (var buffered = new BufferedStream(gzip, 256 << 10))
                    {
                        archive.WriteTo(buffered);
                    }

                    file.Flush(flushToDisk: true);
                },
                cancellationToken).ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            File.Move(temporary, target, overwrite: true);
            await using var written = File.OpenRead(target);
            var hash = Convert.ToHexStringLower(await SHA256.HashDataAsync(written, cancellationToken).ConfigureAwait(false));
            return new BuiltInitramfs(target, hash, modules.IsDefault ? [] : modules, written.Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{output}: cannot be written: {e.Message}", inner: e);
        }
        finally
        {
            try
            {
                File.Delete(temporary);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It could not be made either.
            }
        }
    }

    internal static async Task<(CpioArchive Archive, ImmutableArray<string> Modules)> ComposeAsync(
        InitramfsDescription description, KernelFiles? kernel, CancellationToken cancellationToken)
    {
        var archive = new CpioArchive();
        foreach (var folder in new[] { "dev", "etc", "mnt", "proc", "root", "run", "sys", "usr/bin", "usr/sbin", "sbin", "var" })
        {
            archive.AddDirectory(folder);
        }

        archive.AddDirectory("tmp", 0x3ff);
        archive.AddCharacterDevice("dev/console", 5, 1);
        archive.AddCharacterDevice("dev/null", 1, 3, 0x1b6);
        archive.AddCharacterDevice("dev/ttyS0", 4, 64);
        await AddBusyboxAsync(archive, description, kernel, cancellationToken).ConfigureAwait(false);
        archive.AddFile("etc/passwd", "root::0:0:root:/root:/bin/sh\n"u8.ToArray());
        archive.AddFile("etc/group", "root:x:0:\n"u8.ToArray());

        var modules = await AddModulesAsync(archive, description, kernel, cancellationToken).ConfigureAwait(false);
        archive.AddFile(InitScript.DhcpScriptPath, Encoding.UTF8.GetBytes(InitScript.DhcpScript), 0x1ed);
        var init = description.Script ?? InitScript.Generate(modules.Select(name => name + ".ko"), description.Steps);
        archive.AddFile("init", Encoding.UTF8.GetBytes(init), 0x1ed);
        foreach (var file in description.Files)
        {
            var source = new FileInfo(file.From);
            if (!source.Exists || source.Length > AddedFileLimit)
            {
                throw new BootException(source.Exists ? $"{file.From}: larger than {AddedFileLimit >> 20} MiB"
                    : $"{file.From}: there is no such file to add to the initramfs");
            }

            archive.AddFile(file.To, source, file.Mode ?? (uint)source.UnixFileMode & 0x1ff);
        }

        return (archive, modules);
    }

    private static async Task AddBusyboxAsync(CpioArchive archive, InitramfsDescription description, KernelFiles? kernel,
        CancellationToken cancellationToken)
    {
        var program = Programs.All.Single(candidate => candidate.Name == "busybox");
        var busybox = description.Busybox ?? program.Find()
            ?? throw new BootException("there is no static busybox on this system, which the guest's user space is made of",
                Programs.InstallCommand([program]));
        if (ElfPeek.TryOpen(busybox) is not { } elf)
        {
            throw new BootException($"{busybox}: not a program (no ELF file, or not readable)");
        }

        if (!elf.IsStatic)
        {
            throw new BootException($"{busybox}: needs a dynamic linker, which the initramfs does not have",
                $"the package {program.Package} has a static busybox: {Programs.InstallCommand([program])}");
        }

        if (kernel is not null && elf.Is64Bit && !BootImage.Is64Bit(kernel.Image))
        {
            throw new BootException(
                $"{busybox} is a 64-bit program and the kernel {kernel.Release} is a 32-bit one",
                    "name a 32-bit static busybox (busybox: in the scenario, --busybox), from the i386 package busybox-static");
        }

        var bytes = await File.ReadAllBytesAsync(busybox, cancellationToken).ConfigureAwait(false);
        archive.AddFile("bin/busybox", bytes, 0x1ed);
        foreach (var applet in Applets.Where(applet => HasApplet(bytes, applet)))
        {
            archive.AddSymbolicLink("bin/" + applet, "busybox");
        }

        // The script's interpreter and the kernel's fallback (init/main.c) must be there in any case.
        foreach (var (path, target) in new[] { ("bin/sh", "busybox"), ("sbin/init", "../bin/busybox") })
        {
            if (!archive.Contains(path))
            {
                archive.AddSymbolicLink(path, target);
            }
        }
    }

    private static async Task<ImmutableArray<string>> AddModulesAsync(
        CpioArchive archive, InitramfsDescription description, KernelFiles? kernel, CancellationToken cancellationToken)
    {
        if (description.Modules.IsEmpty)
        {
            return [];
        }

        if (kernel is null)
        {
            throw new BootException(
                $"modules ({string.Join(", ", description.Modules)}) are wanted, but no kernel is named to take them from");
        }

        if (kernel.ModulesDirectory is null)
        {
            throw new BootException(
                $"the kernel {kernel.Release} has no modules here, and {string.Join(", ", description.Modules)} is wanted");
        }

        var files = await ModuleIndex.Open(kernel.ModulesDirectory).ResolveAsync(description.Modules, cancellationToken)
            .ConfigureAwait(false);
        foreach (var file in files)
        {
            archive.AddFile($"lib/modules/{file.Name}.ko", await ModuleFiles.ReadAsync(file.Path, cancellationToken)
                .ConfigureAwait(false));
        }

        return [.. files.Select(file => file.Name)];
    }

    // busybox keeps its applets' names as NUL-terminated strings one after the other (include/applet_tables.h).
    private static bool HasApplet(ReadOnlySpan<byte> busybox, string applet) =>
        busybox.IndexOf(Encoding.ASCII.GetBytes($"\0{applet}\0")) >= 0;
}
