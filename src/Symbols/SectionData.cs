namespace KTrace.Symbols;

/// <summary>
/// The bytes of one section: mapped from the file, inflated, or relocated into memory of our own.
/// Readers borrow <see cref="Span"/> for one synchronous call and keep the SectionData plus an offset for longer.
/// </summary>
public sealed unsafe class SectionData
{
    private readonly byte* _mapped;
    private readonly byte[]? _owned;
    private readonly object? _keepAlive;

    /// <summary>Bytes of our own (inflated, relocated, or synthetic).</summary>
    public SectionData(string file, string name, byte[] bytes)
    {
        File = file;
        Name = name;
        _owned = bytes;
        Length = bytes.Length;
    }

    internal SectionData(string file, string name, byte* mapped, int length, object keepAlive)
    {
        File = file;
        Name = name;
        _mapped = mapped;
        _keepAlive = keepAlive;
        Length = length;
    }

    /// <summary>Path of the file, for messages.</summary>
    public string File { get; }

    /// <summary>Section name, for messages.</summary>
    public string Name { get; }

    /// <summary>Size in bytes.</summary>
    public int Length { get; }

    public bool IsEmpty => Length == 0;

    public ReadOnlySpan<byte> Span => _owned is not null ? _owned : new ReadOnlySpan<byte>(_mapped, Length);

    /// <summary>True when the bytes live in the file's mapping, so that touching them costs file pages and no heap.</summary>
    public bool IsMapped => _owned is null;

    /// <summary>
    /// Says that bytes [offset, offset+length) will not be read again soon: pages of the file's mapping leave our memory (they stay in the system's
    /// cache and come back when touched). Nothing happens to bytes of our own.
    /// </summary>
    public void Release(int offset, int length)
    {
        if (_mapped is not null && length > 0 && offset >= 0 && offset <= Length - length)
        {
            Elf.MappedFile.Release(_mapped + offset, length);
        }
    }

    /// <summary>A reader that starts at <paramref name="offset"/>; an offset outside is malformed input.</summary>
    public ByteReader ReaderAt(long offset)
    {
        if (offset < 0 || offset > Length)
        {
            throw Malformed(offset, $"an offset outside the section (size 0x{Length:x})");
        }

        return new ByteReader(this, (int)offset);
    }

    /// <summary>The NUL-terminated string at <paramref name="offset"/>, as UTF-8 with bad bytes replaced.</summary>
    public string StringAt(long offset)
    {
        var reader = ReaderAt(offset);
        return reader.ReadString();
    }

    public MalformedFileException Malformed(long offset, string what) => new(File, Name, offset, what);

    public static SectionData Empty(string file, string name) => new(file, name, []);
}
