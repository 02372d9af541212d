// An initramfs as a folder, and back. An archive is somebody else's input: nothing may be written outside the folder, so a name
// that is absolute in spirit ("/etc/x") is taken below the folder, ".." is refused, and nothing is written through a symbolic
// link, not even one that the archive itself made a moment before. What a folder of an ordinary user cannot hold (device nodes,
// other owners, set-user-id bits) goes into a text file beside it, FOLDER.cpio-list, in the words of the kernel's
// usr/gen_init_cpio.c: "nod", "pipe", "sock", and our "own" and "link" (owner and mode of an entry; hard link). Packing the
// folder reads it again.
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace KTrace.Boot.Images;

/// <summary>Extracts archives into a folder and packs folders into archives.</summary>
public static class CpioFolder
{
    private const string ListSuffix = ".cpio-list";
    private const int ListLimit = 1_000_000;

    /// <summary>Extracts every archive of an initramfs file. Later archives overwrite files of earlier ones, as in the
    /// kernel.</summary>
    /// <param name="folder">Created if missing; must be empty otherwise.</param>
    /// <returns>The number of entries.</returns>
    /// <exception cref="BootException">The file is damaged, an entry's path leaves the folder, or the folder cannot be
    /// written.</exception>
    public static int Extract(string initramfs, string folder, CancellationToken cancellationToken = default)
    {
        var root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        try
        {
            if (Directory.Exists(root) && Directory.EnumerateFileSystemEntries(root).Any())
            {
                throw new BootException($"{folder}: is not empty", "name a folder that does not exist yet");
            }

            Directory.CreateDirectory(root);
            var extraction = new Extraction(root);
            InitramfsFile.Visit(initramfs, extraction.Take, cancellationToken);
            extraction.Finish();
            return extraction.Count;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{folder}: {e.Message}", inner: e);
        }
    }

    /// <summary>Makes an archive of a folder. Owners are root and times are 0, except what the list beside the folder
    /// says.</summary>
    /// <exception cref="BootException">The folder is missing or cannot be read, or its list is damaged.</exception>
    public static CpioArchive Pack(string folder)
    {
        var root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (!Directory.Exists(root))
        {
            throw new BootException($"{folder}: there is no such folder");
        }

        try
        {
            var list = File.Exists(root + ListSuffix) ? ReadList(root + ListSuffix) : [];
            var own = list.Where(line => line[0] == "own").DistinctBy(line => line[1])
                .ToDictionary(line => line[1], line => (Mode: Octal(line[2]), User: Decimal(line[3]), Group: Decimal(line[4])));
            var links = list.Where(line => line[0] == "link").DistinctBy(line => line[1])
                .ToDictionary(line => line[1], line => line[2]);
            var archive = new CpioArchive();
            var later = new List<string>();
            foreach (var path in Walk(root))
            {
                var name = Path.GetRelativePath(root, path);
                var item = new FileInfo(path);
                var (mode, user, group) = own.TryGetValue(name, out var owned) ? owned : ((uint)item.UnixFileMode, 0, 0);
                if (item.LinkTarget is { } target)
                {
                    archive.AddSymbolicLink(name, target, user, group);
                }
                else if (Directory.Exists(path))
                {
                    archive.AddDirectory(name, mode, user, group);
                }
                else if (links.TryGetValue(name, out var existing) && existing != name && !links.ContainsKey(existing)
                    && File.Exists(Path.Combine(root, existing)))
                {
                    later.Add(name);
                }
                else
                {
                    archive.AddFile(name, item, mode, user, group);
                }
            }

            foreach (var name in later)
            {
                archive.AddHardLink(name, links[name]);
            }

            foreach (var line in list.Where(line => line[0] is "nod" or "pipe" or "sock" && !archive.Contains(line[1])))
            {
                AddSpecial(archive, line);
            }

            return archive;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            throw new BootException($"{folder}: {e.Message}", inner: e);
        }
    }

    // The framework's own recursion goes through links to folders; an archive must not.
    private static IEnumerable<string> Walk(string root)
    {
        var left = new Stack<string>([root]);
        while (left.TryPop(out var folder))
        {
            foreach (var path in Directory.EnumerateFileSystemEntries(folder))
            {
                yield return path;
                if (Directory.Exists(path) && new FileInfo(path).LinkTarget is null)
                {
                    left.Push(path);
                }
            }
        }
    }

    private static void AddSpecial(CpioArchive archive, string[] line)
    {
        var mode = Octal(line[2]);
        switch (line[0])
        {
            case "nod" when line[5] == "c":
                archive.AddCharacterDevice(line[1], Decimal(line[6]), Decimal(line[7]), mode);
                break;
            case "nod":
                archive.AddBlockDevice(line[1], Decimal(line[6]), Decimal(line[7]), mode);
                break;
            default:
                archive.AddSpecial(line[1], line[0] == "pipe" ? CpioType.Fifo : CpioType.Socket, mode, Decimal(line[3]),
                    Decimal(line[4]));
                break;
        }
    }

    private static List<string[]> ReadList(string path)
    {
        var lines = new List<string[]>();
        foreach (var line in File.ReadLines(path).Take(ListLimit))
        {
            if (line.Length == 0 || line[0] == '#')
            {
                continue;
            }

            var words = line.Split('\t');
            var expected = words[0] switch { "own" or "pipe" or "sock" => 5, "nod" => 8, "link" => 3, _ => -1 };
            if (words.Length != expected)
            {
                throw new BootException($"{path}: \"{line}\" is no line of a cpio list");
            }

            lines.Add(words);
        }

        return lines;
    }

    private static uint Octal(string text) => Convert.ToUInt32(text, 8) & 0xfff;

    private static uint Decimal(string text) => uint.Parse(text, CultureInfo.InvariantCulture);

    [DllImport("libc", EntryPoint = "link", SetLastError = true, CharSet = CharSet.Ansi, BestFitMapping = false,
        ThrowOnUnmappableChar = true)]
    private static extern int Link([MarshalAs(UnmanagedType.LPUTF8Str)] string existing,
        [MarshalAs(UnmanagedType.LPUTF8Str)] string name);

    private sealed class Extraction(string root)
    {
        private readonly StringBuilder list = new(
            "# What the folder beside this file cannot hold: kind, path, octal mode, owner, group[, device]. "
            + "Read by ktrace initramfs repack.\n");
        private readonly Dictionary<(int Archive, uint Inode, (uint, uint) Device), string> linked = [];
        private readonly List<(string Path, UnixFileMode Mode)> folders = [];

        public int Count { get; private set; }

        public void Take(CpioEntry entry, CpioReader data)
        {
            Count++;
            var parts = entry.Name.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(part => part != ".").ToArray();
            if (parts.Contains("..") || parts.Any(part => part.Contains('\0', StringComparison.Ordinal)))
            {
                throw new BootException($"the entry \"{entry.Name}\" would be written outside the folder");
            }

            if (parts.Length == 0)
            {
                return;
            }

            var name = string.Join('/', parts);
            EnterParents(entry.Name, parts);
            var path = Path.Combine(root, name);
            var mode = (UnixFileMode)(entry.Mode & 0x1ff);
            switch (entry.Type)
            {
                case CpioType.Directory:
                    if (!IsRealDirectory(path))
                    {
                        Remove(path);
                        Directory.CreateDirectory(path);
                    }

                    // Given at the end, and never so that we could not write into it meanwhile.
                    folders.Add((path, mode));
                    break;
                case CpioType.SymbolicLink:
                    Remove(path);
                    File.CreateSymbolicLink(path, entry.LinkTarget!);
                    break;
                case CpioType.File:
                    TakeFile(entry, data, name, path, mode);
                    break;
                case CpioType.CharacterDevice or CpioType.BlockDevice:
                    Add("nod", name, entry,
                        $"\t{(entry.Type == CpioType.BlockDevice ? 'b' : 'c')}\t{entry.DeviceMajor}\t{entry.DeviceMinor}");
                    return;
                case CpioType.Fifo or CpioType.Socket:
                    Add(entry.Type == CpioType.Fifo ? "pipe" : "sock", name, entry, "");
                    return;
                default:
                    throw new BootException(
                        $"the entry \"{entry.Name}\" has an unknown type (mode {Convert.ToString(entry.Mode, 8)})");
            }

            if (entry.UserId != 0 || entry.GroupId != 0 || (entry.Mode & 0xe00) != 0)
            {
                Add("own", name, entry, "");
            }
        }

        public void Finish()
        {
            foreach (var (path, mode) in Enumerable.Reverse(folders))
            {
                if (IsRealDirectory(path))
                {
                    File.SetUnixFileMode(path, mode);
                }
            }

            File.WriteAllText(root + ListSuffix, list.ToString());
        }

        private void TakeFile(CpioEntry entry, CpioReader data, string name, string path, UnixFileMode mode)
        {
            var key = (entry.Archive, entry.Inode, entry.OnDevice);
            if (entry.LinkCount > 1 && linked.TryGetValue(key, out var first) && File.Exists(Path.Combine(root, first))
                && first != name)
            {
                Remove(path);
                if (Link(Path.Combine(root, first), path) != 0)
                {
                    throw new IOException($"{name}: {Marshal.GetLastPInvokeErrorMessage()}");
                }

                list.Append(CultureInfo.InvariantCulture, $"link\t{Safe(name)}\t{Safe(first)}\n");
                if (entry.Size == 0)
                {
                    return;
                }

                // The data comes with the last name: write it into the file that all names share (it may be read-only by now).
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
                Write(path, data, FileMode.Truncate);
            }
            else
            {
                Remove(path);
                Write(path, data, FileMode.CreateNew);
                if (entry.LinkCount > 1)
                {
                    linked[key] = name;
                }
            }

            File.SetUnixFileMode(path, mode);
        }

        private static void Write(string path, CpioReader data, FileMode how)
        {
            using var file = new FileStream(path, how, FileAccess.Write);
            var buffer = new byte[64 << 10];
            int read;
            while ((read = data.Read(buffer)) > 0)
            {
                file.Write(buffer.AsSpan(0, read));
            }
        }

        private void EnterParents(string name, string[] parts)
        {
            var path = root;
            foreach (var part in parts[..^1])
            {
                path = Path.Combine(path, part);
                var there = new FileInfo(path);
                if (there.LinkTarget is not null)
                {
                    throw new BootException(
                        $"the entry \"{name}\" would be written through the symbolic link {Path.GetRelativePath(root, path)}");
                }

                Directory.CreateDirectory(path);
            }
        }

        private static bool IsRealDirectory(string path) => Directory.Exists(path) && new FileInfo(path).LinkTarget is null;

        private static void Remove(string path)
        {
            if (IsRealDirectory(path))
            {
                Directory.Delete(path);
            }
            else
            {
                File.Delete(path);
            }
        }

        private void Add(string kind, string name, CpioEntry entry, string device)
        {
            list.Append(CultureInfo.InvariantCulture,
                $"{kind}\t{Safe(name)}\t{Convert.ToString(entry.Mode & 0xfff, 8)}\t{entry.UserId}\t{entry.GroupId}{device}\n");
        }

        private static string Safe(string name) => name.Contains('\t', StringComparison.Ordinal)
            || name.Contains('\n', StringComparison.Ordinal)
            ? throw new BootException($"the entry \"{name}\" has a name that a list cannot hold")
            : name;
    }
}
