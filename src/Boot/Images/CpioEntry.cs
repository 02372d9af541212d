// The "newc" cpio format, the one the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst,
// init/initramfs.c): a header of 110 ASCII bytes (magic 070701, thirteen 8-digit hexadecimal fields), the name with its NUL,
// padding to 4, the data, padding to 4; the entry TRAILER!!! ends an archive. 070702 is the same with a sum of the data's bytes
// in the last field.
using System.Globalization;
using System.Text;

namespace KTrace.Boot.Images;

/// <summary>What an entry is: the S_IFMT bits of its mode.</summary>
public enum CpioType
{
    Fifo = 0x1000,
    CharacterDevice = 0x2000,
    Directory = 0x4000,
    BlockDevice = 0x6000,
    File = 0x8000,
    SymbolicLink = 0xa000,
    Socket = 0xc000,
}

/// <summary>One entry's header.</summary>
/// <param name="Name">As the archive has it, usually without a leading slash; bytes that are no UTF-8 become U+FFFD.</param>
/// <param name="Mode">S_IFMT bits and permissions.</param>
/// <param name="ModificationTime">Seconds since 1970.</param>
/// <param name="Size">Bytes of data that follow.</param>
/// <param name="LinkCount">More than 1 for a hard link: entries with the same inode (and device) are one file.</param>
/// <param name="DeviceMajor">For device nodes; 0 otherwise.</param>
public sealed record CpioEntry(
    string Name, uint Mode, uint UserId, uint GroupId, uint ModificationTime, uint Size, uint Inode, uint LinkCount,
        uint DeviceMajor, uint DeviceMinor)
{
    /// <summary>The device that the file lay on when it was packed; with the inode it identifies hard links.</summary>
    public (uint Major, uint Minor) OnDevice { get; init; }

    public CpioType Type => (CpioType)(Mode & 0xf000);

    /// <summary>Where a symbolic link points; null for everything else. Filled in by the reader.</summary>
    public string? LinkTarget { get; init; }

    /// <summary>Which of the concatenated archives it is in, from 0.</summary>
    public int Archive { get; init; }

    /// <summary>The mode as ls -l writes it, such as drwxr-xr-x.</summary>
    public string ModeText
    {
        get
        {
            var type = Type switch
            {
                CpioType.Fifo => 'p',
                CpioType.CharacterDevice => 'c',
                CpioType.Directory => 'd',
                CpioType.BlockDevice => 'b',
                CpioType.File => '-',
                CpioType.SymbolicLink => 'l',
                CpioType.Socket => 's',
                _ => '?',
            };
            var text = new StringBuilder(10).Append(type);
            for (var i = 8; i >= 0; i--)
            {
                text.Append((Mode >> i & 1) != 0 ? "xwr"[i % 3] : '-');
            }

            Special(0x800, 3, 's', 'S');
            Special(0x400, 6, 's', 'S');
            Special(0x200, 9, 't', 'T');
            return text.ToString();

            void Special(uint bit, int place, char executable, char other)
            {
                if ((Mode & bit) != 0)
                {
                    text[place] = text[place] == 'x' ? executable : other;
                }
            }
        }
    }

    /// <summary>One line like ls -l: mode, links, owner, group, size or device numbers, date, name.</summary>
    public string ToListLine()
    {
        var size = Type is CpioType.CharacterDevice or CpioType.BlockDevice ? $"{DeviceMajor}, {DeviceMinor}"
            : Size.ToString(CultureInfo.InvariantCulture);
        var date = DateTimeOffset.FromUnixTimeSeconds(ModificationTime).ToString("yyyy-MM-dd HH:mm",
            CultureInfo.InvariantCulture);
        var target = LinkTarget is null ? "" : " -> " + LinkTarget;
        return string.Create(CultureInfo.InvariantCulture,
            $"{ModeText} {LinkCount,3} {UserId,5} {GroupId,5} {size,10} {date} {Name}{target}");
    }
}
