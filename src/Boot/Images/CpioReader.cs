// Reads newc (070701, 070702) archives from a stream, one after the other as the kernel does (init/initramfs.c,
// unpack_to_rootfs): between archives any number of NUL bytes. Each header starts on a multiple of 4 in the stream.
// What real producers do differently: GNU cpio gives hard links' data with the last name, dracut and others write owners, times
// and "." entries; the kernel's gen_init_cpio writes a trailer without padding. A missing trailer at the end of the file is
// accepted, as the kernel accepts it.
using System.Buffers.Text;
using System.Text;

namespace KTrace.Boot.Images;

/// <summary>A forward reader over concatenated, uncompressed cpio archives. Memory does not depend on the input.</summary>
public sealed class CpioReader
{
    private const int HeaderSize = 110;
    private const int NameLimit = 4096;

    private readonly Stream stream;
    private readonly string file;
    private readonly byte[] header = new byte[HeaderSize];
    private long position;
    private long dataLeft;
    private uint? expectedSum;
    private uint sum;
    private int archive;
    private bool inArchive;

    /// <param name="file">The name to use in messages.</param>
    /// <param name="initial">Bytes already taken from the stream that belong before it.</param>
    public CpioReader(Stream stream, string file, ReadOnlyMemory<byte> initial = default)
    {
        this.stream = initial.IsEmpty ? stream : new PrefixedStream(initial, stream);
        this.file = file;
    }

    /// <summary>Bytes of the stream used so far.</summary>
    public long Position => position;

    /// <summary>Bytes that followed the last archive and are neither zero nor a cpio header: the start of a compressed archive.
    /// Empty until <see cref="Next"/> has returned null.</summary>
    public ReadOnlyMemory<byte> Rest { get; private set; }

    /// <summary>The next entry, or null at the end of the stream or of what is cpio. Data that was not read is skipped.</summary>
    /// <exception cref="BootException">This is no cpio archive, or it is damaged or truncated.</exception>
    public CpioEntry? Next()
    {
        SkipData();
        while (true)
        {
            if (inArchive)
            {
                SkipPadding();
            }

            if (!SkipZeros())
            {
                return null;
            }

            if (ReadHeader() is not { } entry)
            {
                return null;
            }

            if (entry.Name == "TRAILER!!!")
            {
                if (entry.Size != 0)
                {
                    throw Broken("the trailer has data");
                }

                inArchive = false;
                archive++;
                continue;
            }

            inArchive = true;
            if (entry.Type == CpioType.SymbolicLink)
            {
                if (entry.Size is 0 or > NameLimit)
                {
                    throw Broken($"a symbolic link's target of {entry.Size} bytes");
                }

                var target = new byte[entry.Size];
                Read(target);
                // As the kernel reads it: up to the first NUL.
                var length = target.AsSpan().IndexOf((byte)0) is var end && end < 0 ? target.Length : end;
                if (length == 0)
                {
                    throw Broken("a symbolic link without a target");
                }

                entry = entry with { LinkTarget = Encoding.UTF8.GetString(target.AsSpan(0, length)) };
            }

            return entry with { Archive = archive };
        }
    }

    /// <summary>Reads data of the entry that <see cref="Next"/> returned; 0 at its end. A symbolic link's data has been read
    /// already.</summary>
    public int Read(Span<byte> buffer)
    {
        var take = (int)Math.Min(buffer.Length, dataLeft);
        if (take == 0)
        {
            return 0;
        }

        var read = stream.Read(buffer[..take]);
        if (read == 0)
        {
            throw Broken("the file ends inside an entry's data");
        }

        position += read;
        dataLeft -= read;
        if (expectedSum is not null)
        {
            foreach (var value in buffer[..read])
            {
                sum += value;
            }

            if (dataLeft == 0 && sum != expectedSum)
            {
                throw Broken("an entry's data do not have the sum that its header names");
            }
        }

        return read;
    }

    private CpioEntry? ReadHeader()
    {
        var start = position;
        header[0] = (byte)'0';
        position++;
        var read = 1 + stream.ReadAtLeast(header.AsSpan(1), HeaderSize - 1, throwOnEndOfStream: false);
        position += read - 1;
        if (read < 6 || !header.AsSpan().StartsWith("07070"u8) || header[5] is not ((byte)'1' or (byte)'2'))
        {
            position = start;
            throw Broken(header.AsSpan().StartsWith("070707"u8)
                ? "an archive of the old cpio format (070707); the kernel reads only newc (cpio -H newc)"
                : "no cpio header here");
        }

        if (read < HeaderSize)
        {
            throw Broken("the file ends inside a header");
        }

        var size = Field(6);
        var nameSize = Field(11);
        if (nameSize is < 2 or > NameLimit)
        {
            throw Broken($"a name of {nameSize} bytes");
        }

        var name = new byte[nameSize];
        if (stream.ReadAtLeast(name, name.Length, throwOnEndOfStream: false) < name.Length)
        {
            throw Broken("the file ends inside a name");
        }

        position += nameSize;
        if (name[^1] != 0)
        {
            throw Broken("a name without its NUL");
        }

        SkipPadding();
        dataLeft = size;
        sum = 0;
        expectedSum = header[5] == '2' && (Field(1) & 0xf000) == 0x8000 && size > 0 ? Field(12) : null;
        var text = Encoding.UTF8.GetString(name.AsSpan(0, Array.IndexOf(name, (byte)0)));
        return new CpioEntry(text, Field(1), Field(2), Field(3), Field(5), size, Field(0), Field(4), Field(9),
            Field(10)) { OnDevice = (Field(7), Field(8)) };
    }

    private uint Field(int index)
    {
        var digits = header.AsSpan(6 + (index * 8), 8);
        return Utf8Parser.TryParse(digits, out uint value, out var used, 'x') && used == 8 ? value
            : throw Broken("a header field that is not hexadecimal");
    }

    private void SkipData()
    {
        Span<byte> buffer = stackalloc byte[4096];
        while (dataLeft > 0)
        {
            Read(buffer);
        }
    }

    /// <summary>Skips to a multiple of 4, whatever the padding is: the kernel does not look at it either.</summary>
    private void SkipPadding()
    {
        while (position % 4 != 0 && stream.ReadByte() >= 0)
        {
            position++;
        }
    }

    /// <summary>Skips NULs; true if a '0' (consumed) follows, false at the end or before anything else (which is kept in
    /// Rest).</summary>
    private bool SkipZeros()
    {
        while (true)
        {
            var value = stream.ReadByte();
            if (value < 0)
            {
                return false;
            }

            if (value == '0')
            {
                return true;
            }

            if (value != 0)
            {
                if (inArchive)
                {
                    throw Broken($"byte 0x{value:x2} where an entry's header should be");
                }

                Rest = new[] { (byte)value };
                return false;
            }

            position++;
        }
    }

    private BootException Broken(string what) => new($"{file}: not a readable cpio archive: at byte {position}: {what}");
}
