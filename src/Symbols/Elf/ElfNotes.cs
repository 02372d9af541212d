using System.Buffers.Binary;
using System.Collections.Immutable;

namespace KTrace.Symbols.Elf;

/// <summary>Note sections (gABI, "Note Section"). The bytes may also come from guest memory, so nothing here throws.</summary>
public static class ElfNotes
{
    private const uint GnuBuildId = 3;
    private const int MaximumBuildId = 64;

    /// <summary>The build id in a run of notes, or empty.</summary>
    public static ImmutableArray<byte> FindBuildId(ReadOnlySpan<byte> notes)
    {
        while (notes.Length >= 12)
        {
            var nameSize = BinaryPrimitives.ReadUInt32LittleEndian(notes);
            var descriptorSize = BinaryPrimitives.ReadUInt32LittleEndian(notes[4..]);
            var type = BinaryPrimitives.ReadUInt32LittleEndian(notes[8..]);
            var nameEnd = 12 + (((long)nameSize + 3) & ~3);
            var end = nameEnd + (((long)descriptorSize + 3) & ~3);
            if (nameEnd + descriptorSize > notes.Length)
            {
                return [];
            }

            if (type == GnuBuildId && nameSize == 4 && descriptorSize is > 0 and <= MaximumBuildId && notes.Slice(12, 4).SequenceEqual("GNU\0"u8))
            {
                return [.. notes.Slice((int)nameEnd, (int)descriptorSize)];
            }

            if (end >= notes.Length)
            {
                return [];
            }

            notes = notes[(int)end..];
        }

        return [];
    }
}
