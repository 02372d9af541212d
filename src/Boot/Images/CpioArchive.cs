// Writes newc archives that are the same bytes for the same contents: entries sorted by path, inode numbers counted from 1, every
// time 0, every owner as given (root by default). Device nodes are only headers, so nobody needs to be root.
// The kernel makes no missing parent folders (init/initramfs.c, do_name), so they are added. Hard links: one inode, and the data
// with the last name, as GNU cpio writes it and as the kernel, GNU cpio and libarchive read it.
using System.Globalization;
using System.Text;

namespace KTrace.Boot.Images;

/// <summary>A cpio archive being put together.</summary>
public sealed class CpioArchive
{
    private const int NameLimit = 4095;

    private readonly SortedDictionary<string, Item> items = new(StringComparer.Ordinal);

    /// <summary>Entries so far, folders included.</summary>
    public int Count => items.Count;

    /// <summary>Adds a folder, or gives one that is there its mode.</summary>
    /// <param name="path">In the guest; a leading slash is dropped.</param>
    /// <param name="mode">Permissions, such as 0x1ed (0755).</param>
    /// <exception cref="BootException">The path is not usable, or something else has it already. All the Add methods throw
    /// this.</exception>
    public void AddDirectory(string path, uint mode = 0x1ed, uint userId = 0, uint groupId = 0)
    {
        var name = Clean(path);
        if (items.TryGetValue(name, out var there) && there.Type == CpioType.Directory)
        {
            items.Remove(name);
        }

        Add(name, new Item(CpioType.Directory, mode, userId, groupId));
    }

    public void AddFile(string path, ReadOnlyMemory<byte> contents, uint mode = 0x1a4, uint userId = 0, uint groupId = 0) =>
        Add(Clean(path), new Item(CpioType.File, mode, userId, groupId) { Length = contents.Length,
            Open = () => new MemoryStream(contents.ToArray(), writable: false) });

    /// <summary>Adds a file that is read from disk when the archive is written.</summary>
    public void AddFile(string path, FileInfo source, uint mode, uint userId = 0, uint groupId = 0)
    {
        if (!source.Exists)
        {
            throw new BootException($"{source.FullName}: there is no such file");
        }

        Add(Clean(path), new Item(CpioType.File, mode, userId, groupId) { Length = source.Length, Open = source.OpenRead });
    }

    public void AddSymbolicLink(string path, string target, uint userId = 0, uint groupId = 0)
    {
        var bytes = Encoding.UTF8.GetBytes(target);
        if (bytes.Length is 0 or > NameLimit || target.Contains('\0', StringComparison.Ordinal))
        {
            throw new BootException($"{path}: a symbolic link cannot point to \"{target}\"");
        }

        Add(Clean(path), new Item(CpioType.SymbolicLink, 0x1ff, userId, groupId) { Length = bytes.Length,
            Open = () => new MemoryStream(bytes, writable: false) });
    }

    public void AddCharacterDevice(string path, uint major, uint minor, uint mode = 0x180) =>
        Add(Clean(path), new Item(CpioType.CharacterDevice, mode, 0, 0) { Major = major, Minor = minor });

    public void AddBlockDevice(string path, uint major, uint minor, uint mode = 0x180) =>
        Add(Clean(path), new Item(CpioType.BlockDevice, mode, 0, 0) { Major = major, Minor = minor });

    /// <summary>A named pipe or a socket: a header alone.</summary>
    public void AddSpecial(string path, CpioType type, uint mode, uint userId = 0, uint groupId = 0) =>
        Add(Clean(path), new Item(type, mode, userId, groupId));

    /// <summary>Another name for a file that has been added.</summary>
    public void AddHardLink(string path, string existing)
    {
        if (!items.TryGetValue(Clean(existing), out var target) || target.Type != CpioType.File)
        {
            throw new BootException($"{path}: cannot be a hard link to {existing}, which is no file of this archive");
        }

        Add(Clean(path), target);
    }

    /// <summary>There is an entry of that path.</summary>
    public bool Contains(string path) => items.ContainsKey(Clean(path));

    /// <summary>Writes the whole archive, ended and padded to 512 bytes. The stream stays open.</summary>
    /// <exception cref="BootException">A file changed its length meanwhile, or cannot be read.</exception>
    public void WriteTo(Stream stream)
    {
        var written = 0L;
        var links = items.Values.GroupBy(item => item)
            .ToDictionary(group => group.Key, group => (Count: group.Count(), Left: group.Count(), Inode: 0u));
        var inode = 0u;
        foreach (var (name, item) in items)
        {
            var link = links[item];
            link.Left--;
            link.Inode = link.Inode == 0 ? ++inode : link.Inode;
            links[item] = link;
            var length = link.Left == 0 ? item.Length : 0;
            WriteHeader(name, (uint)item.Type | item.Mode, item, link.Inode, item.Type == CpioType.Directory ? 2
                : (uint)link.Count, (uint)length);
            if (length > 0)
            {
                CopyContents(name, item);
                Pad(4);
            }
        }

        WriteHeader("TRAILER!!!", 0, new Item(0, 0, 0, 0), 0, 1, 0);
        Pad(512);

        void WriteHeader(string name, uint mode, Item item, uint number, uint linkCount, uint length)
        {
            var bytes = Encoding.UTF8.GetBytes(name + "\0");
            var header = string.Create(
                CultureInfo.InvariantCulture,
                $"070701{number:X8}{mode:X8}{item.UserId:X8}{item.GroupId:X8}{linkCount:X8}{0:X8}{length:X8}"
                + $"{0:X8}{0:X8}{item.Major:X8}{item.Minor:X8}{bytes.Length:X8}{0:X8}");
            stream.Write(Encoding.ASCII.GetBytes(header));
            stream.Write(bytes);
            written += header.Length + bytes.Length;
            Pad(4);
        }

        void CopyContents(string name, Item item)
        {
            var left = item.Length;
            try
            {
                using var contents = item.Open!();
                var buffer = new byte[64 << 10];
                int read;
                while (left > 0 && (read = contents.Read(buffer.AsSpan(0, (int)Math.Min(buffer.Length, left)))) > 0)
                {
                    stream.Write(buffer.AsSpan(0, read));
                    left -= read;
                }
            }
            catch (Exception e) when (e is UnauthorizedAccessException or FileNotFoundException)
            {
                throw new BootException($"{name}: {e.Message}", inner: e);
            }

            if (left > 0)
            {
                throw new BootException($"{name}: became shorter while it was packed");
            }

            written += item.Length;
        }

        void Pad(int unit)
        {
            var padding = (int)((unit - (written % unit)) % unit);
            stream.Write(new byte[padding]);
            written += padding;
        }
    }

    private static string Clean(string path)
    {
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(part => part != ".").ToArray();
        var name = string.Join('/', parts);
        if (name.Length == 0 || parts.Contains("..") || name.Contains('\0', StringComparison.Ordinal)
            || Encoding.UTF8.GetByteCount(name) > NameLimit || name == "TRAILER!!!")
        {
            throw new BootException($"\"{path}\" cannot be the path of a file in the guest");
        }

        return name;
    }

    private void Add(string name, Item item)
    {
        if (item.Length > uint.MaxValue)
        {
            throw new BootException($"{name}: larger than 4 GiB, which a cpio archive cannot hold");
        }

        for (var slash = name.IndexOf('/', StringComparison.Ordinal); slash >= 0; slash = name.IndexOf('/', slash + 1))
        {
            var parent = name[..slash];
            if (!items.TryGetValue(parent, out var there))
            {
                items.Add(parent, new Item(CpioType.Directory, 0x1ed, 0, 0));
            }
            else if (there.Type != CpioType.Directory)
            {
                throw new BootException($"{name}: {parent} is not a folder in this archive");
            }
        }

        if (!items.TryAdd(name, item))
        {
            throw new BootException($"{name}: is in this archive already");
        }
    }

    // A class with reference equality on purpose: two names of one hard-linked file share one Item.
    private sealed class Item(CpioType type, uint mode, uint userId, uint groupId)
    {
        public CpioType Type => type;

        public uint Mode => mode & 0xfff;

        public uint UserId => userId;

        public uint GroupId => groupId;

        public long Length { get; init; }

        public Func<Stream>? Open { get; init; }

        public uint Major { get; init; }

        public uint Minor { get; init; }
    }
}
