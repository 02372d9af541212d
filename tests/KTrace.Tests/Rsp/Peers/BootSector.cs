namespace KTrace.Tests.Rsp.Peers;

/// <summary>Disks whose first sector ends a machine within a few instructions of 16-bit code, each in its own way.</summary>
internal static class BootSector
{
    /// <summary>Where the firmware puts it and jumps to.</summary>
    public const ulong Start = 0x7c00;

    /// <summary>ACPI's PM1a control register, where the firmware puts it on q35: mov dx, 0x604; mov ax, 0x2000 (S5, sleep now); out dx, ax.</summary>
    public static byte[] PowerOff { get; } = Sector([0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef]);

    /// <summary>The keyboard controller's reset line: mov al, 0xfe; out 0x64, al.</summary>
    public static byte[] Reboot { get; } = Sector([0xb0, 0xfe, 0xe6, 0x64]);

    /// <summary>An interrupt table of no length, and an interrupt: xor ax, ax; mov ds, ax; lidt [0x7df0]; int 3.</summary>
    public static byte[] TripleFault { get; } = Sector([0x31, 0xc0, 0x8e, 0xd8, 0x0f, 0x01, 0x1e, 0xf0, 0x7d, 0xcc]);

    /// <summary>What a kernel's panic notifier does where the machine has the pvpanic device: mov dx, 0x505; mov al, 1; out dx, al.</summary>
    public static byte[] Panic { get; } = Sector([0xba, 0x05, 0x05, 0xb0, 0x01, 0xee]);

    /// <summary>Nothing but the jump to itself.</summary>
    public static byte[] Idle { get; } = Sector([]);

    private static byte[] Sector(byte[] code)
    {
        // The code, then a jump to itself, and the firmware's mark at the end. A disk of less than a cylinder the firmware does not read.
        var disk = new byte[1 << 20];
        code.CopyTo(disk, 0);
        disk[code.Length] = 0xeb;
        disk[code.Length + 1] = 0xfe;
        disk[510] = 0x55;
        disk[511] = 0xaa;
        return disk;
    }
}
