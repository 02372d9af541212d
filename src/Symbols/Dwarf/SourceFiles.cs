namespace KTrace.Symbols.Dwarf;

/// <summary>
/// Source files by number, each composed once: the kernel's 2,352 line tables name the same headers 388,000 times. Not thread-safe.
/// </summary>
internal sealed class SourceFiles
{
    private readonly DwarfSections _sections;
    private readonly bool _shortForm;
    private readonly GrowingArray<Key> _keys = new(256);
    private readonly ByteBuffer _paths = new(4096);
    private readonly GrowingNumbers _starts = new(256);
    private int[] _buckets = new int[512];

    private readonly record struct Key(StringReference CompDir, StringReference Directory, StringReference Name);

    public SourceFiles(DwarfSections sections, bool shortForm)
    {
        _sections = sections;
        _shortForm = shortForm;
    }

    /// <summary>A number for file <paramref name="file"/> of a line table; the same path may have several.</summary>
    public int NumberOf(LineProgramHeader header, int file)
    {
        var key = header.TryFindFile(file, _shortForm, out var directory, out var name) ? new Key(header.CompDir, directory, name) : default;
        var mask = _buckets.Length - 1;
        for (var slot = Hash(in key) & mask; ; slot = (slot + 1) & mask)
        {
            var number = _buckets[slot] - 1;
            if (number < 0)
            {
                _buckets[slot] = Add(in key) + 1;
                if (_keys.Count * 2 > _buckets.Length)
                {
                    Rehash();
                }

                return _keys.Count - 1;
            }

            if (Same(in _keys[number], in key))
            {
                return number;
            }
        }
    }

    /// <summary>The path as UTF-8.</summary>
    public ReadOnlySpan<byte> Path(int number)
    {
        var end = number + 1 < _starts.Count ? _starts[number + 1] : _paths.Length;
        return _paths.Written[_starts[number]..end];
    }

    private int Add(in Key key)
    {
        _keys.Add(in key);
        _starts.Add(_paths.Length);
        if (key.Name.IsNone)
        {
            _paths.Append("<unknown>"u8);
        }
        else
        {
            SourcePath.Append(_paths, _sections, key.CompDir, key.Directory, key.Name, _shortForm);
        }

        return _keys.Count - 1;
    }

    private void Rehash()
    {
        _buckets = new int[_buckets.Length * 2];
        var mask = _buckets.Length - 1;
        for (var number = 0; number < _keys.Count; number++)
        {
            var slot = Hash(in _keys[number]) & mask;
            while (_buckets[slot] != 0)
            {
                slot = (slot + 1) & mask;
            }

            _buckets[slot] = number + 1;
        }
    }

    // The compiler's own Equals would go through EqualityComparer<T>, which is compiled at run time.
    private static bool Same(in Key a, in Key b) =>
        a.Name.Offset == b.Name.Offset && a.Directory.Offset == b.Directory.Offset && a.CompDir.Offset == b.CompDir.Offset
        && a.Name.Section == b.Name.Section && a.Directory.Section == b.Directory.Section && a.CompDir.Section == b.CompDir.Section;

    private static int Hash(in Key key)
    {
        var mixed = ((ulong)(uint)key.Name.Offset << 32) ^ ((ulong)(uint)key.Directory.Offset << 8) ^ (uint)key.CompDir.Offset;
        return (int)((mixed * 0x9e3779b97f4a7c15) >> 33);
    }
}
